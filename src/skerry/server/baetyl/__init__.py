"""The front door of fleets: the API of Baetyl Cloud."""
