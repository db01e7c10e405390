"""The rules of AWS CloudFormation Guard for the five templates."""
