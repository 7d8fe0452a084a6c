# Topics, their subscriptions, and what becomes of messages that nobody acknowledges.

locals {
  subscriptions = merge([
    for topic, settings in var.topics : {
      for name, subscription in settings.subscriptions : name => merge(subscription, { topic = topic })
    }
  ]...)

  dead_lettered = {
    for name, subscription in local.subscriptions : name => subscription
    if subscription.dead_letter_topic != null
  }
}

resource "google_pubsub_schema" "this" {
  for_each = var.schemas

  project    = var.project_id
  name       = each.key
  type       = "AVRO"
  definition = each.value
}

resource "google_pubsub_topic" "this" {
  for_each = var.topics

  project                    = var.project_id
  name                       = each.key
  labels                     = var.labels
  message_retention_duration = "${each.value.retention_seconds}s"

  dynamic "message_storage_policy" {
    for_each = length(each.value.regions) > 0 ? [each.value.regions] : []

    content {
      allowed_persistence_regions = message_storage_policy.value
    }
  }

  dynamic "schema_settings" {
    for_each = each.value.schema == null ? [] : [each.value.schema]

    content {
      schema   = google_pubsub_schema.this[schema_settings.value.name].id
      encoding = schema_settings.value.encoding
    }
  }
}

resource "google_pubsub_subscription" "this" {
  for_each = local.subscriptions

  project                    = var.project_id
  name                       = each.key
  topic                      = google_pubsub_topic.this[each.value.topic].id
  labels                     = var.labels
  ack_deadline_seconds       = each.value.ack_deadline_seconds
  message_retention_duration = "${each.value.retention_seconds}s"
  retain_acked_messages      = each.value.retain_acked
  enable_message_ordering    = each.value.ordered
  filter                     = each.value.filter

  # Copies are made before Pub/Sub already, and known by their message id (docs/guarantees.md).
  # Exactly-once delivery would not remove those, costs throughput, and Dataflow advises against it.
  enable_exactly_once_delivery = false

  # Else Pub/Sub deletes it, and what it holds, after 31 days without a reader.
  expiration_policy {
    ttl = ""
  }

  dynamic "dead_letter_policy" {
    for_each = each.value.dead_letter_topic == null ? [] : [each.value.dead_letter_topic]

    content {
      dead_letter_topic     = google_pubsub_topic.this[dead_letter_policy.value].id
      max_delivery_attempts = each.value.max_delivery_attempts
    }
  }

  # Dataflow knows no delayed redelivery; others would ask again at once, for what just failed.
  dynamic "retry_policy" {
    for_each = each.value.read_by_pipeline ? [] : [true]

    content {
      minimum_backoff = "10s"
      maximum_backoff = "600s"
    }
  }
}

# Pub/Sub itself moves dead letters, as its service agent: it publishes them, and acknowledges them
# on the subscription that they come from. Asked for as a resource: the agent is made at first use,
# and a data source would be read anew, and the grants made anew, when anything before it changes.
resource "google_project_service_identity" "pubsub" {
  count    = length(local.dead_lettered) > 0 ? 1 : 0
  provider = google-beta

  project = var.project_id
  service = "pubsub.googleapis.com"
}

resource "google_pubsub_topic_iam_member" "dead_letters" {
  for_each = toset([for subscription in values(local.dead_lettered) : subscription.dead_letter_topic])

  project = var.project_id
  topic   = google_pubsub_topic.this[each.key].name
  role    = "roles/pubsub.publisher"
  member  = google_project_service_identity.pubsub[0].member
}

resource "google_pubsub_subscription_iam_member" "dead_lettered" {
  for_each = local.dead_lettered

  project      = var.project_id
  subscription = google_pubsub_subscription.this[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub[0].member
}
