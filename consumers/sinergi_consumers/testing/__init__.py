"""What an integrator tests a projection or a sink with. Nothing here needs a broker."""
