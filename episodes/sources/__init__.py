"""Where records come from: shipped suites, image folders, prepared data sets."""
