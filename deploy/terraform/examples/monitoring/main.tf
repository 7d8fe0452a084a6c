# Alerts and dashboard for two jobs; an e-mail address is told.

terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
  }
}

provider "google" {
  project = "my-project"
  region  = "europe-west1"
}

resource "google_monitoring_notification_channel" "oncall" {
  project      = "my-project"
  display_name = "On call"
  type         = "email"

  labels = {
    email_address = "oncall@example.com"
  }
}

module "monitoring" {
  source = "../../modules/monitoring"

  project_id                = "my-project"
  name                      = "iot"
  jobs                      = ["telemetry", "warehouse"]
  subscriptions             = ["telemetry-warehouse", "telemetry-archive"]
  dead_letter_subscriptions = ["telemetry-dead-letters-review"]
  notification_channels     = [google_monitoring_notification_channel.oncall.id]
  runbook_url               = "https://example.com/mqttbeam/docs/runbook.md"
}

output "dashboard" {
  value = module.monitoring.dashboard
}
