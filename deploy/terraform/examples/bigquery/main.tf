# Dataset, tables and view; rows of telemetry are deleted after two years.

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

module "bigquery" {
  source = "../../modules/bigquery"

  project_id                = "my-project"
  location                  = "EU"
  dataset_id                = "iot"
  partition_expiration_days = { telemetry = 730 }
}

output "tables" {
  value = module.bigquery.tables
}
