"""How a number is written in a cell of a table."""

import re

NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")  # 12,5
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")  # 1,234, which may be 1.234 as well
PERCENT = re.compile(r"([+-]?[0-9]+(?:[.,][0-9]+)?) ?[%％]")  # 45 %
