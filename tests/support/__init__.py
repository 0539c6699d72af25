"""What tests share: fakes, sample files and real servers."""
