variable "project_id" {
  description = "Project of the dataset."
  type        = string
}

variable "dataset_id" {
  description = "Name of the dataset."
  type        = string
  default     = "iot"

  validation {
    condition     = can(regex("^[A-Za-z_][A-Za-z0-9_]{0,254}$", var.dataset_id))
    error_message = "dataset_id: must be letters, digits and underscores, 255 at most, such as iot."
  }
}

variable "location" {
  description = "Region or multi-region of the data, such as EU or europe-west1. It can't be changed later."
  type        = string
}

variable "partition_expiration_days" {
  description = "Age at which a day of telemetry, or of dead letters, is deleted, by table name; a table that is not named keeps its rows."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for days in values(var.partition_expiration_days) : days >= 1])
    error_message = "partition_expiration_days: must be 1 or more."
  }

  validation {
    condition     = alltrue([for name in keys(var.partition_expiration_days) : contains(["telemetry", "dead_letters"], name)])
    error_message = "partition_expiration_days: there are the tables telemetry and dead_letters."
  }
}

variable "deletion_protection" {
  description = "Whether Terraform refuses to delete a table, or to make it anew."
  type        = bool
  default     = true
}

variable "labels" {
  description = "Labels of dataset and tables."
  type        = map(string)
  default     = {}
}
