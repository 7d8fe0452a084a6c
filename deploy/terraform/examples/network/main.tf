# Workers without public addresses that reach a broker outside under one fixed address.

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

module "network" {
  source = "../../modules/network"

  project_id    = "my-project"
  region        = "europe-west1"
  name          = "mqttbeam"
  ip_cidr_range = "10.80.0.0/22"
}

# What the broker's firewall must let in.
output "nat_addresses" {
  value = module.network.nat_addresses
}
