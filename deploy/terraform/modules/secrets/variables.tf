variable "project_id" {
  description = "Project of the secrets."
  type        = string
}

variable "secrets" {
  description = <<-EOT
    Secrets by name, without their values: a value that Terraform knows is in its state for all
    who may read that. Add values with `gcloud secrets versions add`.

    purpose: what it is, as a label.
    rotation_days: after so many days Secret Manager reminds on rotation_topic; null: never. It
      changes nothing by itself.
  EOT
  type = map(object({
    purpose       = string
    rotation_days = optional(number)
  }))

  validation {
    condition     = alltrue([for each in values(var.secrets) : each.rotation_days == null ? true : each.rotation_days >= 1])
    error_message = "secrets: rotation_days must be 1 or more, or null."
  }

  validation {
    condition     = alltrue([for each in values(var.secrets) : can(regex("^[a-z0-9_-]{1,63}$", each.purpose))])
    error_message = "secrets: purpose is a label: lower case letters, digits, dashes and underscores."
  }
}

variable "rotation_topic" {
  description = "Full name of the Pub/Sub topic for reminders, projects/P/topics/T; needed where a secret has rotation_days. It needs a subscription, or nobody is reminded."
  type        = string
  default     = null
}

variable "first_rotation" {
  description = "When the first reminders are sent, RFC 3339, in the future when a secret is made; later ones follow by rotation_days."
  type        = string
  default     = null

  validation {
    condition     = var.first_rotation == null ? true : can(formatdate("YYYY", var.first_rotation))
    error_message = "first_rotation: must be RFC 3339, such as 2027-01-31T09:00:00Z."
  }
}

variable "replica_locations" {
  description = "Regions that keep the secrets; empty leaves the choice to Google."
  type        = list(string)
  default     = []
}

variable "labels" {
  description = "Labels of the secrets."
  type        = map(string)
  default     = {}
}
