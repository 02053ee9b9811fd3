"""What turns example ids and a method into a trained network."""
