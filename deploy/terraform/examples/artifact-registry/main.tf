# A repository for the templates' images.

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

module "artifact_registry" {
  source = "../../modules/artifact-registry"

  project_id = "my-project"
  location   = "europe-west1"
}

output "image_prefix" {
  value = module.artifact_registry.image_prefix
}
