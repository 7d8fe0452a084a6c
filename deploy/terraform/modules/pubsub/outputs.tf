output "topics" {
  description = "Full names of the topics, projects/P/topics/T, by name."
  value       = { for name, topic in google_pubsub_topic.this : name => topic.id }

  # Whoever publishes to a topic before it has its subscriptions publishes to nobody.
  depends_on = [google_pubsub_subscription.this]
}

output "subscriptions" {
  description = "Full names of the subscriptions, projects/P/subscriptions/S, by name."
  value       = { for name, subscription in google_pubsub_subscription.this : name => subscription.id }

  depends_on = [google_pubsub_subscription_iam_member.dead_lettered, google_pubsub_topic_iam_member.dead_letters]
}
