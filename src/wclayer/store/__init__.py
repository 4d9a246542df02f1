"""The layer store of this machine: layer folders by name, their chains, locks and references."""
