# The images of launcher and workers. A tag never changes what it means: a job that is launched
# again, or scales out, must get the image that it was tested with.

resource "google_artifact_registry_repository" "this" {
  project       = var.project_id
  location      = var.location
  repository_id = var.repository_id
  format        = "DOCKER"
  description   = "Images of the mqttbeam flex templates"
  labels        = var.labels

  docker_config {
    immutable_tags = true
  }

  # Keep wins over delete.
  cleanup_policies {
    id     = "keep-newest"
    action = "KEEP"

    most_recent_versions {
      keep_count = var.keep_versions
    }
  }

  cleanup_policies {
    id     = "delete-old"
    action = "DELETE"

    condition {
      tag_state  = "ANY"
      older_than = "${var.delete_after_days * 86400}s"
    }
  }
}
