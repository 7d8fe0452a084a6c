variable "project_id" {
  description = "Project of the jobs and subscriptions."
  type        = string
}

variable "name" {
  description = "What the names of policies and dashboard begin with."
  type        = string
}

variable "jobs" {
  description = "Names of the Dataflow jobs that must run."
  type        = set(string)

  validation {
    condition     = length(var.jobs) > 0 && alltrue([for name in var.jobs : can(regex("^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", name))])
    error_message = "jobs: names of jobs, one at least."
  }
}

variable "subscriptions" {
  description = "Names of the subscriptions that the jobs read."
  type        = set(string)

  validation {
    condition     = length(var.subscriptions) > 0 && alltrue([for name in var.subscriptions : can(regex("^[A-Za-z][A-Za-z0-9_-]{2,254}$", name))])
    error_message = "subscriptions: names of subscriptions (not projects/…), one at least."
  }
}

variable "dead_letter_subscriptions" {
  description = "Names of the subscriptions in which dead letters wait for a person."
  type        = set(string)

  validation {
    condition     = length(var.dead_letter_subscriptions) > 0 && alltrue([for name in var.dead_letter_subscriptions : can(regex("^[A-Za-z][A-Za-z0-9_-]{2,254}$", name))])
    error_message = "dead_letter_subscriptions: names of subscriptions (not projects/…), one at least."
  }
}

variable "notification_channels" {
  description = "Who is told: projects/P/notificationChannels/N. Empty: incidents are opened, and nobody is told."
  type        = list(string)
}

variable "runbook_url" {
  description = "Where docs/runbook.md can be read; each alert links to its part."
  type        = string

  validation {
    condition     = can(regex("^https://[^ #]+$", var.runbook_url))
    error_message = "runbook_url: must be https:// and without a #."
  }
}

variable "system_lag_seconds" {
  description = "How long an element may be on its way through a job."
  type        = number
  default     = 300
}

variable "data_freshness_seconds" {
  description = "How far a job's watermark may be behind the clock."
  type        = number
  default     = 600
}

variable "oldest_unacked_seconds" {
  description = "How old the oldest message may be that a subscription's job did not acknowledge. An archive keeps messages until their file is final: archive_window_seconds and more."
  type        = number
  default     = 600
}

variable "rejected_per_10_minutes" {
  description = "How many messages a job may refuse in ten minutes."
  type        = number
  default     = 0
}

variable "failures_per_10_minutes" {
  description = "How many failed or lost connections to the broker a job may have in ten minutes."
  type        = number
  default     = 10
}

variable "labels" {
  description = "Labels of the policies."
  type        = map(string)
  default     = {}
}
