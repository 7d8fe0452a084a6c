# The account of a telemetry pipeline, which publishes to two topics and reads one secret.

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

module "service_accounts" {
  source = "../../modules/service-accounts"

  project_id       = "my-project"
  prefix           = "iot"
  dataflow_bucket  = "my-project-iot-dataflow"
  launcher_members = ["group:oncall@example.com"]

  repository = {
    project       = "my-project"
    location      = "europe-west1"
    repository_id = "mqttbeam"
  }

  pipelines = {
    telemetry = {
      publishes = {
        telemetry    = "projects/my-project/topics/telemetry"
        dead-letters = "projects/my-project/topics/telemetry-dead-letters"
      }
      secrets = {
        password = { project = "my-project", secret_id = "mqtt-password" }
      }
    }
  }
}

output "workers" {
  value = module.service_accounts.workers
}
