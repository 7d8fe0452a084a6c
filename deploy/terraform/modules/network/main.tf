# A network for workers without public addresses: Google's services by Private Google Access, a
# broker outside by Cloud NAT.

resource "google_compute_network" "this" {
  project                 = var.project_id
  name                    = var.name
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

resource "google_compute_subnetwork" "workers" {
  project                  = var.project_id
  region                   = var.region
  name                     = "${var.name}-workers"
  network                  = google_compute_network.this.id
  ip_cidr_range            = var.ip_cidr_range
  private_ip_google_access = true

  dynamic "log_config" {
    for_each = var.flow_log_sampling > 0 ? [var.flow_log_sampling] : []

    content {
      aggregation_interval = "INTERVAL_5_SEC"
      flow_sampling        = log_config.value
      metadata             = "INCLUDE_ALL_METADATA"
    }
  }
}

# Dataflow gives its workers the tag; the ports are those of its shuffle between workers.
resource "google_compute_firewall" "between_workers" {
  project     = var.project_id
  name        = "${var.name}-dataflow-workers"
  description = "Dataflow workers among themselves"
  network     = google_compute_network.this.id
  direction   = "INGRESS"
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]

  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}

resource "google_compute_router" "this" {
  project = var.project_id
  region  = var.region
  name    = "${var.name}-router"
  network = google_compute_network.this.id
}

resource "google_compute_address" "nat" {
  count = var.nat_address_count

  project = var.project_id
  region  = var.region
  name    = "${var.name}-nat-${count.index}"
}

resource "google_compute_router_nat" "this" {
  project                            = var.project_id
  region                             = var.region
  name                               = "${var.name}-nat"
  router                             = google_compute_router.this.name
  nat_ip_allocate_option             = var.nat_address_count > 0 ? "MANUAL_ONLY" : "AUTO_ONLY"
  nat_ips                            = google_compute_address.nat[*].self_link
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"
  min_ports_per_vm                   = var.nat_ports_per_vm

  subnetwork {
    name                    = google_compute_subnetwork.workers.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  # A worker without a free port can't reach its broker, and nothing else says why.
  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
