"""The five CloudFormation stacks and the commands that deploy them."""
