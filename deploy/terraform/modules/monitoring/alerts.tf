# What wakes somebody, and where it says what to do.
#
# PromQL over Google's own metrics. job_user_counter holds Beam's counters, by name and job; its
# value is the count since the job's start, as a gauge: so delta, not rate. A job that is updated
# in place keeps its name; counts begin anew with its new id.

locals {
  jobs         = join("|", sort(var.jobs))
  read         = join("|", sort(var.subscriptions))
  dead_letters = join("|", sort(var.dead_letter_subscriptions))

  of_jobs         = "monitored_resource=\"dataflow_job\",job_name=~\"${local.jobs}\""
  of_read         = "monitored_resource=\"pubsub_subscription\",subscription_id=~\"${local.read}\""
  of_dead_letters = "monitored_resource=\"pubsub_subscription\",subscription_id=~\"${local.dead_letters}\""

  alerts = {
    system-lag = {
      title    = "system lag"
      query    = "max by (job_name) (dataflow_googleapis_com:job_system_lag{${local.of_jobs}}) > ${var.system_lag_seconds}"
      duration = "300s"
      severity = "WARNING"
      section  = "system-lag-or-data-freshness"
      says     = "An element is on its way through the job for longer than ${var.system_lag_seconds} s: too few workers, or a sink that does not take what it is given."
    }
    data-freshness = {
      title    = "data freshness"
      query    = "max by (job_name) (dataflow_googleapis_com:job_data_watermark_age{${local.of_jobs}}) > ${var.data_freshness_seconds}"
      duration = "300s"
      severity = "WARNING"
      section  = "system-lag-or-data-freshness"
      says     = "What the job has finished is older than ${var.data_freshness_seconds} s: it does not keep up, or it stands still."
    }
    oldest-unacked = {
      title    = "oldest unacknowledged message"
      query    = "max by (subscription_id) (pubsub_googleapis_com:subscription_oldest_unacked_message_age{${local.of_read}}) > ${var.oldest_unacked_seconds}"
      duration = "300s"
      severity = "ERROR"
      section  = "a-subscription-falls-behind"
      says     = "Nobody has finished a message that is older than ${var.oldest_unacked_seconds} s. What is older than the subscription's retention is lost."
    }
    dead-letters = {
      title    = "dead letters wait"
      query    = "max by (subscription_id) (pubsub_googleapis_com:subscription_num_undelivered_messages{${local.of_dead_letters}}) > 0"
      duration = "0s"
      severity = "WARNING"
      section  = "dead-letters"
      says     = "Messages that were refused wait on their subscription, with the reason in their attributes."
    }
    rejected = {
      title    = "messages refused"
      query    = "sum by (job_name) (delta(dataflow_googleapis_com:job_user_counter{${local.of_jobs},metric_name=\"rejected\"}[10m])) > ${var.rejected_per_10_minutes}"
      duration = "0s"
      severity = "WARNING"
      section  = "dead-letters"
      says     = "The job refuses messages; each step that handles one counts it, so one message counts more than once. They are on the dead-letter topic or in the dead-letter table with the reason, or their outcome says so."
    }
    reconnects = {
      title    = "connections to the broker fail"
      query    = "sum by (job_name) (delta(dataflow_googleapis_com:job_user_counter{${local.of_jobs},metric_name=~\"failures|losses\"}[10m])) > ${var.failures_per_10_minutes}"
      duration = "0s"
      severity = "ERROR"
      section  = "connections-to-the-broker-fail"
      says     = "Connections to the broker are lost, or not made. Messages wait in the sessions at the broker until these expire."
    }
    takeovers = {
      title    = "client id taken over"
      query    = "sum by (job_name) (delta(dataflow_googleapis_com:job_user_counter{${local.of_jobs},metric_name=\"takeovers\"}[10m])) > 2"
      duration = "0s"
      severity = "ERROR"
      section  = "connections-to-the-broker-fail"
      says     = "Another client connects with this job's client ids, and each takes the other's connections: two jobs with one clientId?"
    }
    overdue = {
      title    = "messages not acknowledged in time"
      query    = "sum by (job_name) (delta(dataflow_googleapis_com:job_user_counter{${local.of_jobs},metric_name=\"overdue\"}[10m])) > 0"
      duration = "0s"
      severity = "WARNING"
      section  = "system-lag-or-data-freshness"
      says     = "What was read was not finished for ten minutes, so the broker was made to send it again. Expect copies."
    }
  }
}

resource "google_monitoring_alert_policy" "this" {
  for_each = local.alerts

  project               = var.project_id
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = var.notification_channels
  user_labels           = var.labels

  conditions {
    display_name = each.value.title

    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.duration
      evaluation_interval = "60s"

      # A counter of Beam's is there once a job has counted; the policy comes before the job.
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: ${each.value.title}"
    content   = "${each.value.says}\n\n[What to do](${var.runbook_url}#${each.value.section})"
  }
}

# A job that ended leaves no figure that could be too high: its silence is what is looked for. One
# policy a job, as nothing says the name of what is not there. An update in place is silent for some
# minutes as well, and should wake nobody.
resource "google_monitoring_alert_policy" "job_not_running" {
  for_each = var.jobs

  project               = var.project_id
  display_name          = "${var.name}: job not running: ${each.key}"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.notification_channels
  user_labels           = var.labels

  conditions {
    display_name = "${each.key} is not running"

    condition_prometheus_query_language {
      query                     = "absent_over_time(dataflow_googleapis_com:job_system_lag{monitored_resource=\"dataflow_job\",job_name=\"${each.key}\"}[8m])"
      duration                  = "60s"
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }

  alert_strategy {
    auto_close = "1800s"
  }

  documentation {
    mime_type = "text/markdown"
    subject   = "${var.name}: job not running: ${each.key}"
    content   = "${each.key} has given no sign for eight minutes: it failed, was cancelled or drained.\n\n[What to do](${var.runbook_url}#a-job-is-not-running)"
  }
}
