"""How many weeks of purchases churn needs before it is worth predicting."""
