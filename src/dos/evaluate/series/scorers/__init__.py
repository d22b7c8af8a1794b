"""What `dos bench detect` compares: the product, and its peers. They are `scorer.FleetScorer`s."""
