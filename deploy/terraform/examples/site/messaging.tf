# Topics and subscriptions. Each reader has a subscription of its own: one that falls behind holds
# up nobody else, and can be sought back alone.

module "pubsub" {
  source     = "../../modules/pubsub"
  depends_on = [google_project_service.this]

  project_id = var.project_id
  labels     = local.labels

  topics = {
    # No schema: the devices' bytes, whatever they are; the warehouse decodes them.
    telemetry = {
      regions = [var.region]
      subscriptions = {
        telemetry-warehouse = {}
        telemetry-archive   = { ack_deadline_seconds = 600 }
      }
    }

    # What Pub/Sub or the layout can't take. A person looks at it: a month to do so.
    telemetry-dead-letters = {
      regions = [var.region]
      subscriptions = {
        telemetry-dead-letters-review = { read_by_pipeline = false, retention_seconds = 2678400 }
      }
    }

    commands = {
      regions       = [var.region]
      subscriptions = { commands-mqtt = {} }
    }

    # Your backend reads these; what it fails to acknowledge ten times is put aside.
    command-results = {
      regions = [var.region]
      subscriptions = {
        command-results-backend = {
          read_by_pipeline  = false
          dead_letter_topic = "command-results-undelivered"
        }
      }
    }

    command-results-undelivered = {
      regions = [var.region]
      subscriptions = {
        command-results-undelivered-review = { read_by_pipeline = false, retention_seconds = 2678400 }
      }
    }

    secret-rotation = {
      regions       = [var.region]
      subscriptions = { secret-rotation-review = { read_by_pipeline = false } }
    }
  }
}
