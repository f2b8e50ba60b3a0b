"""How results are shown: pages, charts, tables, sentences and the terminal."""
