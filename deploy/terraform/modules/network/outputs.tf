output "network" {
  description = "The network's id."
  value       = google_compute_network.this.id
}

output "subnetwork" {
  description = "The workers' subnetwork, as Dataflow takes it."
  value       = "regions/${google_compute_subnetwork.workers.region}/subnetworks/${google_compute_subnetwork.workers.name}"

  # Without its NAT a worker comes up and reaches no broker outside.
  depends_on = [google_compute_router_nat.this]
}

output "nat_addresses" {
  description = "Addresses under which the workers are seen outside; empty where Google chooses."
  value       = google_compute_address.nat[*].address
}
