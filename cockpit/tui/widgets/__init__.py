"""The parts that screens are made of. Rule: a widget draws what it is handed and reads the fleet through the View."""
