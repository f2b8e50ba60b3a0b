"""Faults injected for real: killed, out of disk, power cut, damaged, fed with nonsense. `python -m faults`."""
