# A streaming job from a flex template. Changed parameters, image or specification update the
# running job in place; a changed name drains it, and launches another when it has ended.
#
# The streaming mode is the specification's: at least once (templates/specification.py).

resource "google_dataflow_flex_template_job" "this" {
  provider = google-beta

  project                 = var.project_id
  region                  = var.region
  name                    = var.name
  container_spec_gcs_path = var.specification
  sdk_container_image     = var.image
  parameters              = { for name, value in var.parameters : name => value if value != null }
  transform_name_mapping  = var.transform_name_mapping
  labels                  = var.labels

  enable_streaming_engine = true
  machine_type            = var.machine_type
  max_workers             = var.max_workers
  service_account_email   = var.service_account_email
  subnetwork              = var.subnetwork
  ip_configuration        = "WORKER_IP_PRIVATE"
  staging_location        = "gs://${var.dataflow_bucket}/staging/${var.name}"
  temp_location           = "gs://${var.dataflow_bucket}/temp/${var.name}"

  # What was read is finished and acknowledged. Cancelled, it would come again, as copies.
  on_delete = "drain"

  # Wait for the end: a job that took over while the drained one still runs would fight with it for
  # the client ids at the broker, and each would take the other's connections.
  skip_wait_on_job_termination = false
}
