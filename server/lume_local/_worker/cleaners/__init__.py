"""The cleaners of flow expressions: SQL macros, and the tables behind them."""
