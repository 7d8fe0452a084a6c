output "nat_addresses" {
  description = "What the broker's firewall must let in."
  value       = module.network.nat_addresses
}

output "image_prefix" {
  description = "Where images are pushed to."
  value       = module.artifact_registry.image_prefix
}

output "dataflow_bucket" {
  description = "Where specifications are put, under templates/."
  value       = module.storage.dataflow_bucket
}

output "subnetwork" {
  description = "The workers' subnetwork, as `mqttbeam templates launch` takes it."
  value       = module.network.subnetwork
}

output "workers" {
  description = "The workers' accounts, by job."
  value       = module.service_accounts.workers
}

output "launcher" {
  description = "The account that launches, updates and drains."
  value       = module.service_accounts.launcher
}

output "tables" {
  description = "The tables, as the pipelines take them."
  value       = module.bigquery.tables
}
