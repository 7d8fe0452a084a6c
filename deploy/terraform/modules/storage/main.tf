# Three buckets, because what they hold lives for three different times: the archive, the bytes of
# large dead letters, and what Dataflow itself needs (templates, staging, temporary files).

# No retention policy: a pipeline shows at its start that it may write, with an object that it
# removes again, which such a policy forbids. What is deleted by mistake can be restored for
# archive_restorable_days, and the pipelines' accounts may not change the bucket.
resource "google_storage_bucket" "archive" {
  project                     = var.project_id
  name                        = "${var.prefix}-archive"
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = var.labels

  soft_delete_policy {
    retention_duration_seconds = var.archive_restorable_days * 86400
  }

  lifecycle_rule {
    action {
      type          = "SetStorageClass"
      storage_class = "COLDLINE"
    }

    condition {
      age                   = var.archive_coldline_after_days
      matches_storage_class = ["STANDARD"]
    }
  }

  dynamic "lifecycle_rule" {
    for_each = var.archive_delete_after_days == null ? [] : [var.archive_delete_after_days]

    content {
      action {
        type = "Delete"
      }

      condition {
        age = lifecycle_rule.value
      }
    }
  }
}

resource "google_storage_bucket" "dead_letters" {
  project                     = var.project_id
  name                        = "${var.prefix}-dead-letters"
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = var.labels

  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age = var.dead_letters_delete_after_days
    }
  }
}

resource "google_storage_bucket" "dataflow" {
  project                     = var.project_id
  name                        = "${var.prefix}-dataflow"
  location                    = var.location
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  labels                      = var.labels

  # Temporary files are deleted as fast as they are made; kept for a week each would be paid for.
  soft_delete_policy {
    retention_duration_seconds = 0
  }

  # Only temporary files have an age. A specification is what a roll back launches. What is staged is
  # read for as long as its job lives: each new container of a worker fetches it when it starts, and
  # a job of months gets a new one whenever a machine is replaced or the job scales out. A launch
  # stages some hundred kilobytes.
  lifecycle_rule {
    action {
      type = "Delete"
    }

    condition {
      age            = 30
      matches_prefix = ["temp/"]
    }
  }
}
