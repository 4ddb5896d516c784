terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
  }
  # Keep the state in a bucket of its own, encrypted and locked: `terraform init -backend-config=backend.hcl` (README.md).
  backend "s3" {}
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { project = var.name }
  }
}
