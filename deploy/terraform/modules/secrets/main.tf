# Secrets without values. What the pipelines are given is a reference to one of these.

locals {
  reminded = { for name, secret in var.secrets : name => secret if secret.rotation_days != null }
}

resource "google_secret_manager_secret" "this" {
  for_each = var.secrets

  project   = var.project_id
  secret_id = each.key
  labels    = merge(var.labels, { purpose = each.value.purpose })

  # A version that was destroyed too early can be brought back for a day.
  version_destroy_ttl = "86400s"

  replication {
    dynamic "auto" {
      for_each = length(var.replica_locations) == 0 ? [true] : []

      content {}
    }

    dynamic "user_managed" {
      for_each = length(var.replica_locations) == 0 ? [] : [true]

      content {
        dynamic "replicas" {
          for_each = var.replica_locations

          content {
            location = replicas.value
          }
        }
      }
    }
  }

  dynamic "rotation" {
    for_each = each.value.rotation_days == null ? [] : [each.value.rotation_days]

    content {
      rotation_period    = "${rotation.value * 86400}s"
      next_rotation_time = var.first_rotation
    }
  }

  dynamic "topics" {
    for_each = each.value.rotation_days == null ? [] : [var.rotation_topic]

    content {
      name = topics.value
    }
  }

  lifecycle {
    # Secret Manager moves it on at each reminder.
    ignore_changes = [rotation[0].next_rotation_time]

    precondition {
      condition     = each.value.rotation_days == null || (var.rotation_topic != null && var.first_rotation != null)
      error_message = "secret ${each.key}: rotation_days needs rotation_topic and first_rotation."
    }
  }

  # Secret Manager looks whether it may publish when a topic is given.
  depends_on = [google_pubsub_topic_iam_member.reminders]
}

# The service agent is made at first use; without it the grant below has nobody to go to.
resource "google_project_service_identity" "secret_manager" {
  count    = length(local.reminded) > 0 ? 1 : 0
  provider = google-beta

  project = var.project_id
  service = "secretmanager.googleapis.com"
}

resource "google_pubsub_topic_iam_member" "reminders" {
  count = length(local.reminded) > 0 ? 1 : 0

  project = var.project_id
  topic   = var.rotation_topic
  role    = "roles/pubsub.publisher"
  member  = google_project_service_identity.secret_manager[0].member
}
