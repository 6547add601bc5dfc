"""Does growing a trained model save compute, once the small model and the tuning are paid for?"""
