"""Everything on Google Cloud: Firestore, Pub/Sub, Cloud Tasks and Secret Manager through Google's own GAPIC clients."""
