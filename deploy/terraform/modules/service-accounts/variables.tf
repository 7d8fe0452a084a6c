variable "project_id" {
  description = "Project of the accounts and of the jobs."
  type        = string
}

variable "prefix" {
  description = "What the accounts' names begin with."
  type        = string
  default     = "iot"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}$", var.prefix))
    error_message = "prefix: must be lower case letters, digits and dashes, 2 to 15, as an account's name has 30 at most."
  }
}

variable "pipelines" {
  description = <<-EOT
    What each pipeline uses, by the pipeline's name, which becomes its account's. Its job has that
    name too: the account writes to staging/NAME/ and temp/NAME/ of dataflow_bucket. Keys below are
    of your choice and stay the same: they name the grants.

    publishes: topics, projects/P/topics/T.
    subscribes: subscriptions, projects/P/subscriptions/S.
    appends: BigQuery tables that rows are appended to.
    secrets: secrets that are read.
    writes: buckets that objects are written to.
  EOT
  type = map(object({
    publishes  = optional(map(string), {})
    subscribes = optional(map(string), {})
    appends = optional(map(object({
      project    = string
      dataset_id = string
      table_id   = string
    })), {})
    secrets = optional(map(object({
      project   = string
      secret_id = string
    })), {})
    writes = optional(map(string), {})
  }))

  validation {
    condition     = alltrue([for name in keys(var.pipelines) : can(regex("^[a-z][a-z0-9-]{1,12}[a-z0-9]$", name))])
    error_message = "pipelines: names must be lower case letters, digits and dashes, 3 to 14, such as telemetry."
  }
}

variable "repository" {
  description = "Artifact Registry repository of the images, as the artifact-registry module gives it."
  type = object({
    project       = string
    location      = string
    repository_id = string
  })
}

variable "dataflow_bucket" {
  description = "Bucket for templates (templates/), staged (staging/) and temporary files (temp/)."
  type        = string
}

variable "predefined_worker_role" {
  description = "Whether workers get roles/dataflow.worker in place of its permissions without storage: for a project whose launches Google refuses otherwise. Every worker may then read and make objects in every bucket of the project, specifications too."
  type        = bool
  default     = false
}

variable "launcher_members" {
  description = "Who may act as the launcher, such as group:oncall@example.com or the account of a build."
  type        = set(string)
  default     = []
}
