"""What the commands for releases do, as flows, with stores and with trials on live traffic."""
