# The cluster, its nodes with and without GPU, and the add-ons that both need. NVIDIA's GPU operator, KEDA and the like come
# by their own charts (k8s/README.md).

resource "aws_eks_cluster" "main" {
  #checkov:skip=CKV_AWS_39:it is public only to the networks that api_access names, and to none by default
  name                      = var.name
  version                   = var.kubernetes_version
  role_arn                  = aws_iam_role.cluster.arn
  deletion_protection       = var.protect
  enabled_cluster_log_types = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  access_config {
    authentication_mode = "API"
  }
  encryption_config {
    resources = ["secrets"]
    provider {
      key_arn = aws_kms_key.main.arn
    }
  }
  vpc_config {
    subnet_ids              = [for subnet in aws_subnet.private : subnet.id]
    endpoint_private_access = true
    endpoint_public_access  = length(var.api_access) > 0
    public_access_cidrs     = length(var.api_access) > 0 ? var.api_access : null
  }
  depends_on = [aws_cloudwatch_log_group.cluster, aws_iam_role_policy_attachment.cluster]
}

resource "aws_cloudwatch_log_group" "cluster" {
  name              = "/aws/eks/${var.name}/cluster"
  retention_in_days = 365
  kms_key_id        = aws_kms_key.main.arn
}

resource "aws_iam_role" "cluster" {
  name               = "${var.name}-cluster"
  assume_role_policy = data.aws_iam_policy_document.assume["eks"].json
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_eks_access_entry" "administrators" {
  for_each      = toset(var.administrators)
  cluster_name  = aws_eks_cluster.main.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "administrators" {
  for_each      = toset(var.administrators)
  cluster_name  = aws_eks_cluster.main.name
  principal_arn = each.value
  policy_arn    = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
  access_scope {
    type = "cluster"
  }
}

resource "aws_eks_addon" "main" {
  for_each = {
    "coredns"                = null
    "eks-pod-identity-agent" = null
    "kube-proxy"             = null
    "vpc-cni"                = jsonencode({ enableNetworkPolicy = "true" }) # else every NetworkPolicy is ignored
    "aws-efs-csi-driver"     = null
    "aws-ebs-csi-driver"     = null
  }
  cluster_name         = aws_eks_cluster.main.name
  addon_name           = each.key
  configuration_values = each.value
  dynamic "pod_identity_association" {
    for_each = [for driver in keys(local.drivers) : driver if driver == each.key]
    content {
      role_arn        = aws_iam_role.drivers[each.key].arn
      service_account = local.drivers[each.key].account
    }
  }
}

locals {
  drivers = {
    "aws-ebs-csi-driver" = { account = "ebs-csi-controller-sa", policy = "AmazonEBSCSIDriverPolicy" }
    "aws-efs-csi-driver" = { account = "efs-csi-controller-sa", policy = "AmazonEFSCSIDriverPolicy" }
  }
}

resource "aws_iam_role" "drivers" {
  for_each           = local.drivers
  name               = "${var.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.assume_pod.json
}

resource "aws_iam_role_policy_attachment" "drivers" {
  for_each   = local.drivers
  role       = aws_iam_role.drivers[each.key].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/${each.value.policy}"
}

locals {
  pools = {
    general = merge(var.general_nodes, { image = "AL2023_x86_64_STANDARD", disk_gib = 50, taints = [] })
    gpu = merge(var.gpu_nodes, {
      image    = "AL2023_x86_64_NVIDIA"
      disk_gib = 150 # the images of Triton and of training are 15 GB each
      taints   = ["nvidia.com/gpu"]
    })
  }
}

resource "aws_eks_node_group" "main" {
  for_each        = local.pools
  cluster_name    = aws_eks_cluster.main.name
  node_group_name = each.key
  node_role_arn   = aws_iam_role.nodes.arn
  subnet_ids      = [for subnet in aws_subnet.private : subnet.id]
  ami_type        = each.value.image
  instance_types  = [each.value.type]
  labels          = { "mien/pool" = each.key }
  launch_template {
    id      = aws_launch_template.nodes[each.key].id
    version = aws_launch_template.nodes[each.key].latest_version
  }
  scaling_config {
    desired_size = each.value.least
    min_size     = each.value.least
    max_size     = each.value.most
  }
  update_config {
    max_unavailable = 1
  }
  node_repair_config {
    enabled = true
  }
  dynamic "taint" {
    for_each = each.value.taints
    content {
      key    = taint.value
      value  = "present"
      effect = "NO_SCHEDULE"
    }
  }
  lifecycle {
    ignore_changes = [scaling_config[0].desired_size] # the autoscaler's
  }
  depends_on = [aws_iam_role_policy_attachment.nodes]
}

resource "aws_launch_template" "nodes" {
  for_each = local.pools
  name     = "${var.name}-${each.key}"
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1 # a pod gets no role of its node
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_size = each.value.disk_gib
      volume_type = "gp3"
      encrypted   = true # with the account's key for disks: node groups need no grant for it
    }
  }
}

resource "aws_iam_role" "nodes" {
  name               = "${var.name}-nodes"
  assume_role_policy = data.aws_iam_policy_document.assume["ec2"].json
}

resource "aws_iam_role_policy_attachment" "nodes" {
  for_each   = toset(["AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryPullOnly"])
  role       = aws_iam_role.nodes.name
  policy_arn = "arn:aws:iam::aws:policy/${each.value}"
}
