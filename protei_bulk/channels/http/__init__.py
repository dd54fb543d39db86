"""The HTTP API: Klein resources over the intake, the reports and the accounts."""
