# The telemetry job with four shards, in a network and with an account that are there already.

terraform {
  required_version = ">= 1.5"

  required_providers {
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 6.50"
    }
  }
}

provider "google-beta" {
  project = "my-project"
  region  = "europe-west1"
}

module "telemetry" {
  source = "../../modules/dataflow-job"

  project_id            = "my-project"
  region                = "europe-west1"
  name                  = "telemetry"
  specification         = "gs://my-project-iot-dataflow/templates/mqtt-to-pubsub-1.0.json"
  image                 = "europe-west1-docker.pkg.dev/my-project/mqttbeam/mqtt-to-pubsub:1.0"
  service_account_email = "iot-telemetry@my-project.iam.gserviceaccount.com"
  subnetwork            = "regions/europe-west1/subnetworks/mqttbeam-workers"
  dataflow_bucket       = "my-project-iot-dataflow"
  max_workers           = 4

  parameters = {
    brokerServer     = "mqtts://broker.example.com:8883"
    clientId         = "telemetry-eu"
    username         = "pipeline"
    passwordSecretId = "projects/my-project/secrets/mqtt-password"
    outputTopic      = "projects/my-project/topics/telemetry"
    shards           = "4"
  }
}

output "job_id" {
  value = module.telemetry.job_id
}
