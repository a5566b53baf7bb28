"""The closed loop in a world where it is known what every action would have changed."""
