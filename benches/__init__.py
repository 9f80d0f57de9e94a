"""How fast the house is: `python -m benches`. A row is a function; a module of rows is found by lying here."""
