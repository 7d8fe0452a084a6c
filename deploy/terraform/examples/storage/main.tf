# Buckets for the archive, for large dead letters, and for Dataflow.

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

module "storage" {
  source = "../../modules/storage"

  project_id                  = "my-project"
  location                    = "europe-west1"
  prefix                      = "my-project-iot"
  archive_coldline_after_days = 90
  archive_delete_after_days   = 2555
}

output "archive_bucket" {
  value = module.storage.archive_bucket
}
