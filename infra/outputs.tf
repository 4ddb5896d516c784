output "kubeconfig" {
  description = "The command that has kubectl speak with the cluster."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${aws_eks_cluster.main.name}"
}

output "release_store" {
  description = "What MIEN_RELEASE_STORE is set to."
  value       = "s3://${aws_s3_bucket.releases.id}/mien"
}

output "database" {
  description = "Host and port of PostgreSQL."
  value       = aws_db_instance.main.endpoint
}

output "database_secret" {
  description = "Where AWS keeps the password of PostgreSQL's user `mien`."
  value       = aws_db_instance.main.master_user_secret[0].secret_arn
}

output "state_file_system" {
  description = "The `fileSystemId` of the storage class for `mien-state`."
  value       = aws_efs_file_system.state.id
}
