variable "project_id" {
  description = "Project of everything here: one environment, one project."
  type        = string
}

variable "region" {
  description = "Region of everything here."
  type        = string
  default     = "europe-west1"
}

variable "environment" {
  description = "What this is, such as production or staging: a label, and the name in alerts."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.environment))
    error_message = "environment: must be lower case letters, digits and dashes, such as production."
  }
}

variable "launch" {
  description = "Whether the jobs run. The first apply is without them: images, specifications and the secrets' values must be there first. Back to false drains them."
  type        = bool
  default     = false
}

variable "releases" {
  description = "Which release of its template each job runs: the tag of the image, and the end of the specification's name. To roll one job back, name the release before."
  type = object({
    telemetry = string
    warehouse = string
    commands  = string
    direct    = optional(string)
  })
}

variable "renamed_steps" {
  description = "Steps that were renamed since a job was launched, old name to new, by job: `renamed` of its template's graph.json. Empty again after the update."
  type        = map(map(string))
  default     = {}

  validation {
    condition     = alltrue([for job in keys(var.renamed_steps) : contains(["telemetry", "warehouse", "commands", "direct"], job)])
    error_message = "renamed_steps: there are the jobs telemetry, warehouse, commands and direct."
  }
}

variable "broker" {
  description = <<-EOT
    The broker, as the workers reach it.

    server: address, or several separated by commas.
    usernames: the user of each job. Each has a password of its own, the secret mqtt-JOB-password.
    private_ca: whether its certificate is of an authority of your own, the secret mqtt-ca.
    ca_version: which version of that secret. A job reads it when it starts; another one here
      updates the jobs in place (docs/runbook.md, rotate a credential).
  EOT
  type = object({
    server     = string
    private_ca = optional(bool, false)
    ca_version = optional(string, "latest")
    usernames = optional(object({
      telemetry = optional(string, "telemetry")
      commands  = optional(string, "commands")
      direct    = optional(string, "direct")
    }), {})
  })
}

variable "shards" {
  description = "Connections that share the subscription; more than one needs a broker with shared subscriptions. See docs/runbook.md before it gets fewer."
  type        = number
  default     = 4

  validation {
    condition     = var.shards >= 1 && var.shards <= 1000
    error_message = "shards: must be 1 to 1000."
  }
}

variable "shards_before" {
  description = "How many shards there were, at the start after which there are fewer (docs/runbook.md, scale in); null otherwise."
  type        = number
  default     = null
}

variable "client_ids" {
  description = "Prefixes of the client ids, the same at every start: the broker keeps a job's messages under them. A changed one is another subscriber, whose messages begin with it (docs/runbook.md, scale in)."
  type = object({
    telemetry = optional(string, "telemetry")
    commands  = optional(string, "commands")
    direct    = optional(string, "direct")
  })
  default = {}
}

variable "direct" {
  description = "Whether a job takes telemetry from the broker straight into BigQuery as well, without Pub/Sub: into the same table, where it would be copies while the warehouse runs."
  type        = bool
  default     = false
}

variable "alert_email" {
  description = "Who is told of alerts."
  type        = string
}

variable "runbook_url" {
  description = "Where docs/runbook.md of this repository can be read."
  type        = string
}

variable "launcher_members" {
  description = "Who may launch, update and drain jobs, such as group:oncall@example.com."
  type        = set(string)
  default     = []
}

variable "predefined_worker_role" {
  description = "Whether workers get roles/dataflow.worker, which reads and makes objects in every bucket of the project, in place of its permissions without storage (deploy/README.md)."
  type        = bool
  default     = false
}

variable "first_secret_rotation" {
  description = "When the first reminder to rotate the passwords comes, RFC 3339, in the future at the first apply."
  type        = string
}
