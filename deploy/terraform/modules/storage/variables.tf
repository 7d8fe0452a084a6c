variable "project_id" {
  description = "Project of the buckets."
  type        = string
}

variable "location" {
  description = "Region or multi-region of the buckets: the workers' own, as they write all the time."
  type        = string
}

variable "prefix" {
  description = "What the buckets' names begin with. They are unique in the world: put the project's id in."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,45}[a-z0-9]$", var.prefix))
    error_message = "prefix: must be lower case letters, digits and dashes, 47 at most, such as my-project-iot."
  }
}

variable "archive_coldline_after_days" {
  description = "Age in days at which archive files move to Coldline, which costs less to keep and more to read."
  type        = number
  default     = 90

  validation {
    condition     = var.archive_coldline_after_days >= 1
    error_message = "archive_coldline_after_days: must be 1 or more."
  }
}

variable "archive_delete_after_days" {
  description = "Age in days at which archive files are deleted; null: never."
  type        = number
  default     = null

  validation {
    condition     = var.archive_delete_after_days == null ? true : var.archive_delete_after_days >= 1
    error_message = "archive_delete_after_days: must be 1 or more, or null."
  }
}

variable "archive_restorable_days" {
  description = "How long a deleted archive file can be restored, 7 to 90 days: the bucket's soft delete."
  type        = number
  default     = 30

  validation {
    condition     = var.archive_restorable_days >= 7 && var.archive_restorable_days <= 90
    error_message = "archive_restorable_days: must be 7 to 90."
  }
}

variable "dead_letters_delete_after_days" {
  description = "Age in days at which the bytes of dead letters that were too large for their row are deleted."
  type        = number
  default     = 90

  validation {
    condition     = var.dead_letters_delete_after_days >= 1
    error_message = "dead_letters_delete_after_days: must be 1 or more."
  }
}

variable "labels" {
  description = "Labels of the buckets."
  type        = map(string)
  default     = {}
}
