# Alerts for the jobs that run, and a dashboard.

resource "google_monitoring_notification_channel" "oncall" {
  project      = var.project_id
  display_name = "On call (${var.environment})"
  type         = "email"

  labels = {
    email_address = var.alert_email
  }

  depends_on = [google_project_service.this]
}

module "monitoring" {
  source = "../../modules/monitoring"
  # Without the jobs each would be missed.
  count = var.launch ? 1 : 0

  project_id                = var.project_id
  name                      = "mqttbeam ${var.environment}"
  jobs                      = var.direct ? ["telemetry", "warehouse", "commands", "direct"] : ["telemetry", "warehouse", "commands"]
  subscriptions             = ["telemetry-warehouse", "telemetry-archive", "commands-mqtt"]
  dead_letter_subscriptions = ["telemetry-dead-letters-review", "command-results-undelivered-review"]
  notification_channels     = [google_monitoring_notification_channel.oncall.id]
  runbook_url               = var.runbook_url
  labels                    = local.labels

  # The archive keeps messages until their file is final: archiveWindowSeconds, and the upload.
  oldest_unacked_seconds = 900
}
