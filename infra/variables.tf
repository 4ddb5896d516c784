variable "region" {
  description = "Where everything is made."
  type        = string
}

variable "zones" {
  description = "Three zones of the region; a zone's place in the list decides its addresses, so add none in front."
  type        = list(string)
  validation {
    condition     = length(var.zones) == 3
    error_message = "Three zones are needed."
  }
}

variable "name" {
  description = "Begins the name of everything that is made."
  type        = string
  default     = "mien"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}$", var.name))
    error_message = "Lower-case letters, digits and hyphens, 2 to 21 of them, the first a letter."
  }
}

variable "network" {
  description = "Addresses of the network, of which each subnet gets a sixteenth."
  type        = string
  default     = "10.20.0.0/16"
}

variable "kubernetes_version" {
  description = "Minor version of the cluster; k8s/README.md says which ones the manifests are checked against."
  type        = string
  default     = "1.34"
}

variable "api_access" {
  description = "Networks that may reach the cluster's API from outside, such as an office's; none: from the network alone."
  type        = list(string)
  default     = []
  validation {
    condition     = !contains(var.api_access, "0.0.0.0/0")
    error_message = "The cluster's API is not for everybody: name the networks of those who use it."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles that may do everything in the cluster."
  type        = list(string)
  validation {
    condition     = length(var.administrators) > 0
    error_message = "Without an administrator nobody could use the cluster."
  }
}

variable "general_nodes" {
  description = "Nodes for all but Triton and training: instance type, fewest, most."
  type        = object({ type = string, least = number, most = number })
  default     = { type = "m7i.xlarge", least = 2, most = 6 }
}

variable "gpu_nodes" {
  description = "Nodes with a GPU, for Triton and training: instance type, fewest, most."
  type        = object({ type = string, least = number, most = number })
  default     = { type = "g6.xlarge", least = 2, most = 8 } # one L4 each
}

variable "database_class" {
  description = "Instance class of PostgreSQL, for Prefect, searches and feedback."
  type        = string
  default     = "db.t4g.medium"
}

variable "protect" {
  description = "Whether cluster, database and releases refuse to be destroyed. Set it to false, apply, then destroy."
  type        = bool
  default     = true
}
