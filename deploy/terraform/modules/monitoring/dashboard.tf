resource "google_monitoring_dashboard" "this" {
  project = var.project_id

  dashboard_json = templatefile("${path.module}/dashboard.json.tftpl", {
    name         = var.name
    jobs         = local.jobs
    read         = local.read
    dead_letters = local.dead_letters
  })
}
