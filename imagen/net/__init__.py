"""HTTP shared by backends and deliveries."""
