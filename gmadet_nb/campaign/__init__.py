"""The whole way: demo nights, the runner, the report, the command line."""
