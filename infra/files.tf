# A volume for many writers, for the claim `mien-state`: datasets, runs, releases on their way to the store.

resource "aws_efs_file_system" "state" {
  creation_token = var.name
  encrypted      = true
  kms_key_id     = aws_kms_key.main.arn
  tags           = { Name = "${var.name}-state" }
}

resource "aws_efs_backup_policy" "state" {
  file_system_id = aws_efs_file_system.state.id
  backup_policy {
    status = "ENABLED"
  }
}

resource "aws_efs_mount_target" "state" {
  for_each        = aws_subnet.private
  file_system_id  = aws_efs_file_system.state.id
  subnet_id       = each.value.id
  security_groups = [aws_security_group.state.id]
}

resource "aws_security_group" "state" {
  name        = "${var.name}-state"
  description = "NFS, for the cluster's nodes"
  vpc_id      = aws_vpc.main.id
}

resource "aws_vpc_security_group_ingress_rule" "state" {
  security_group_id            = aws_security_group.state.id
  description                  = "The cluster's nodes and pods"
  referenced_security_group_id = aws_eks_cluster.main.vpc_config[0].cluster_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}
